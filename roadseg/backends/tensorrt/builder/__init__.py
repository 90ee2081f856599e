"""From a specification to an engine: exported, compiled, proved and put in its place."""
