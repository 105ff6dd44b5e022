"""What orders counts of its own."""

from starkeel_observability import counter, histogram

_MAX_PRODUCTS = 100
_OTHER = "__other__"

_products: set[str] = set()

ORDERS_CREATED = counter("orders_created_total", "Orders placed.", labels=("product",))
ORDER_CREATION = histogram(
    "order_creation_duration_seconds", "From the accepted request to the committed order."
)


def product_label(product_type: str) -> str:
    """Return a product's label: its own for the first hundred in this process, one for all others.

    Products are free text, and every label value is a time series for as long as the process lives.
    """
    if product_type not in _products:
        if len(_products) >= _MAX_PRODUCTS:
            return _OTHER
        _products.add(product_type)
    return product_type
