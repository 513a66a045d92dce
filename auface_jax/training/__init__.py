"""Training of every network of this project by one loop.

loop                from a config to a finished run, read top to bottom
tasks               one file a training task
losses              losses, and the frozen networks that some of them compare with
state, optimizers   the train state and its update
config_check        faults of a config, told before anything is built
guard, preemption   steps that went wrong, and stopping on request
log, profiling      reports and traces
"""
