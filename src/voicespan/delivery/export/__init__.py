"""From the spool to the backend: requests, answers, when to try again."""
