"""The handler on FastAPI with OpenTelemetry, prometheus-instrumentator and JSON logs."""

import os

import uvicorn
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from otel_provider import provider
from prometheus_fastapi_instrumentator import Instrumentator

LOGS = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "%(asctime)s %(levelname)s %(message)s",
        }
    },
    "handlers": {
        "out": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}
    },
    "loggers": {name: {"handlers": ["out"], "level": "INFO"} for name in ("uvicorn", "uvicorn.access")},
}

app = FastAPI(openapi_url=None)
Instrumentator().instrument(app).expose(app)


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"id": item_id}


FastAPIInstrumentor.instrument_app(app, tracer_provider=provider)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), loop="uvloop", log_config=LOGS)
