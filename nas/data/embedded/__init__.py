"""Files of the embedded set `emoji`, and the script that rebuilds them; sources and licences are in `NOTICE.md`."""
