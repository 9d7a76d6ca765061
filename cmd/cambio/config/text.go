package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	secretsType  = reflect.TypeFor[[]exchange.Secret]()
)

// setText sets v from the text of a value: what the file, the environment and the
// defaults have in common. A list is comma-separated.
func setText(v reflect.Value, text string) error {
	if v.Type() == secretType {
		v.Set(reflect.ValueOf(exchange.NewSecret(text)))
		return nil
	}
	if strings.Contains(text, "${") && v.Type() != secretsType {
		return errors.New("${…} stands only as the whole value of a key that holds a secret: store.postgres.dsn, seal.key, seal.old_keys")
	}
	switch v.Type() {
	case durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%q is no duration: write 10s, 5m or 720h", text)
		}
		v.SetInt(int64(d))
		return nil
	case prefixType:
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("%q is no CIDR prefix: write 10.0.0.0/8, or 192.0.2.7/32 for one address", text)
		}
		if p != p.Masked() {
			return fmt.Errorf("%q has bits beyond its length: write %s", text, p.Masked())
		}
		v.Set(reflect.ValueOf(p))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil || (text != "true" && text != "false") {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		v.SetBool(b)
	case reflect.Int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		v.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("%q is no number", text)
		}
		v.SetFloat(n)
	case reflect.Slice:
		var items []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		out := reflect.MakeSlice(v.Type(), len(items), len(items))
		for i, item := range items {
			if err := setText(out.Index(i), item); err != nil {
				return err
			}
		}
		v.Set(out)
	default:
		return fmt.Errorf("a value of type %s cannot be written as text", v.Type())
	}
	return nil
}

// setDefaults sets what has a default.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		if text, ok := field.Tag.Lookup("default"); ok {
			if err := setText(v.Field(i), text); err != nil {
				panic(fmt.Sprintf("the default of %s: %s", field.Name, err)) // a mistake in config.go; any test finds it
			}
		} else if field.Type.Kind() == reflect.Struct && field.Type != secretType {
			setDefaults(v.Field(i))
		}
	}
}
