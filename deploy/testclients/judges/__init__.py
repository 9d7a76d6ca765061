"""Vendors' own clients, unmodified, as judges of what Cambio vends and of the
stand-ins: each calls a stand-in, which answers who the caller is."""
