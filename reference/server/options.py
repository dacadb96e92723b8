"""What a server can be told, beside its engine. Imports no web framework."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from reference.option_checks import check_types


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """Where a server listens, and how much it takes."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every interface, and lets anybody in who can reach the machine."""
    port: int = 30000
    """TCP port; 0 takes a free one."""
    served_model_name: str = ""
    """The model's name for OpenAI's clients; by default what --model says."""
    max_body: int = 32 * 2**20
    """Bytes that the body of a request may have."""
    max_clients: int = 512
    """HTTP requests that are answered at once; more are refused with status 429."""
    grace: float = 5.0
    """Seconds that answers under way may still take when the server is told to end."""

    def check(self) -> None:
        """Raises ValueError on values of another type or out of range."""
        check_types(self)
        if not self.host:
            raise ValueError("host is empty; give an address, such as 127.0.0.1")
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port is {self.port}; give 0 to 65535")
        for name in ("max_body", "max_clients"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not 0 <= self.grace <= 3600:
            raise ValueError(f"grace is {self.grace}; give 0 to 3600 seconds")

    def bind(self) -> socket.socket:
        """A socket at the address, which does not listen yet. Raises ValueError where that is taken or is none."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, self.port))
        except OSError as wrong:
            made.close()
            reason = wrong.strerror or str(wrong)
            raise ValueError(
                f"cannot listen on {self.host} port {self.port} ({reason}); give another --host or --port"
            ) from None
        return made
