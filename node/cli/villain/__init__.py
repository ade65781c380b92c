"""The villain: named attacks on a rollup, what each costs whom, played in tests and against running networks."""
