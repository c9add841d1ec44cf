"""The demo: everything that the loop needs, started, watched and stopped by one command."""
