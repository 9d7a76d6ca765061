// Package testproperties tries random sequences of exchanges over the whole house
// and holds that nothing ever widens: see TestNothingWidens.
package testproperties
