"""Tables, migrations, blobs and the vault. Used by `phoundry.services` alone."""
