"""Training of every network of this project by one loop.

loop                from a config to a finished run, read top to bottom
tasks               the training tasks, each in its own file
losses              losses, and the frozen networks that some of them compare with
state, optimizers   the train state and its update
config_check        checks of a config before anything is built
guard, preemption   bad steps, and stopping on request
log, profiling      reports and traces
"""
