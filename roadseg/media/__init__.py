"""Pictures and videos, in and out: nothing here knows of networks."""
