"""One object per request: what the layers around a Litestar application share."""

from ._compat import Route
from ._exchange.config import REQUEST_ID, ExchangeConfig, Header, header_map
from ._exchange.deadlines import DeadlineQueue, DeadlineQueues
from ._exchange.encoded_body import Encoder
from ._exchange.exchange import DeadlineExceeded, Exchange, current
from ._exchange.gates import GateOrder, Response
from ._exchange.http import HttpExchange
from ._exchange.incoming import TOO_LARGE
from ._exchange.stream_end import StreamEnd
from ._exchange.websocket import WebSocketExchange
from ._load import AT_ONCE, DEFAULT_GROUP, LOAD_GROUP, LOAD_PRIORITY, LoadPolicy, LoadPriority
from ._open_exchanges import client_of
from ._pipeline import Layer, LayerOrder, Pipeline, pipeline_of
from ._request_rules import ANY_HOST

__all__ = [
    "ANY_HOST",
    "AT_ONCE",
    "DEFAULT_GROUP",
    "LOAD_GROUP",
    "LOAD_PRIORITY",
    "REQUEST_ID",
    "TOO_LARGE",
    "DeadlineExceeded",
    "DeadlineQueue",
    "DeadlineQueues",
    "Encoder",
    "Exchange",
    "ExchangeConfig",
    "GateOrder",
    "Header",
    "HttpExchange",
    "Layer",
    "LayerOrder",
    "LoadPolicy",
    "LoadPriority",
    "Pipeline",
    "Response",
    "Route",
    "StreamEnd",
    "WebSocketExchange",
    "client_of",
    "current",
    "header_map",
    "pipeline_of",
]
