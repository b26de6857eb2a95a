"""naht puts security fixes into running processes: no restart, same PID, same connections."""

__version__ = "0.1.0"
