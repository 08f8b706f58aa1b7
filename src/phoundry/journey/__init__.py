"""The whole journey over the services."""
