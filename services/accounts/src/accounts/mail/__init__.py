"""Mail to users: settings, queue, dispatcher and transports."""
