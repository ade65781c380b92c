"""The trader's client; installed under the import name anchorline as well."""
