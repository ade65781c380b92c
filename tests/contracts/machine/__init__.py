"""A state machine over all contracts at once: real rules, real courts, a restless token; see ``chain`` and ``base``."""
