"""One SDK a module: CALLS are what can be asked, by name. Clients are made once, as a program makes them."""
