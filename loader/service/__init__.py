"""The HTTP service of `loader serve`. It needs the packages of the extra `serve`; no other command imports them."""
