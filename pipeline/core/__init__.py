"""Values and the operating system: errors and exit codes, time, secrets, files, processes, logs, retries."""
