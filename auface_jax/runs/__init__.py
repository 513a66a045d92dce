"""A run's folder and what is kept in it.

presets        presets of a config and the run folders that they imply
run_config     the config of a run: read, written, compared
checkpoints    train states and exported weights
required_runs  the runs that a run builds on
console, json_files, locks, markdown
               lines on the terminal, JSON files, locks between processes, tables
"""
