"""What a node keeps on disk: key-value store, trie, chain records."""
