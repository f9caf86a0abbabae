"""A process that delivers what applications leave in the spool: `voicespan deliver`."""
