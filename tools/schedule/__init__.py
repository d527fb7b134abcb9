"""The unattended jobs, described once; the files of ``infra/schedule`` are written from it."""
