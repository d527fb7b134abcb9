"""A crew of machines that read backups: it gets tickets, and gives answers; it never has the Org Key."""
