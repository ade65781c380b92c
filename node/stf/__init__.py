"""The state transition function: the rules, in integers and without I/O. Each file's twin is contracts/stf/*.vy."""
