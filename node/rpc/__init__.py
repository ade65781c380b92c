"""The JSON-RPC interface: server, methods, errors, subscriptions, client."""
