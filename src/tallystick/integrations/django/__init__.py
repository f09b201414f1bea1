"""Django: metrics by the settings dict `TALLYSTICK`, and a middleware that times requests by their route.

INSTALLED_APPS = [..., "tallystick.integrations.django"]
MIDDLEWARE = ["tallystick.integrations.django.middleware.MetricsMiddleware", ...]
TALLYSTICK = {"backend": "postgresql://localhost/metrics", "app": "shop"}
"""

from __future__ import annotations

from tallystick.integrations.django.recording import metrics, on_commit

__all__ = ["metrics", "on_commit"]
