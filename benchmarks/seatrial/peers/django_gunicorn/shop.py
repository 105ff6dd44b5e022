"""Items on Django: Django REST framework, simplejwt, django-cors-headers, django-prometheus, drf-spectacular.

Settings, views, routes and the WSGI application; the settings are those of Django's deployment checklist.
"""

import os
import time

from django.conf import settings

settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ["JWT_SECRET"],
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    DATABASES={},
    SECURE_HSTS_SECONDS=31_536_000,
    SESSION_COOKIE_SECURE=True,
    CSRF_COOKIE_SECURE=True,
    PROMETHEUS_EXPORT_MIGRATIONS=False,
    CORS_ALLOWED_ORIGINS=[os.environ["ORIGIN"]],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "corsheaders",
        "django_prometheus",
        "drf_spectacular",
        "rest_framework",
    ],
    MIDDLEWARE=[
        "django_prometheus.middleware.PrometheusBeforeMiddleware",
        "django.middleware.security.SecurityMiddleware",
        "corsheaders.middleware.CorsMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django_prometheus.middleware.PrometheusAfterMiddleware",
    ],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [
            "rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"
        ],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    },
    SIMPLE_JWT={"SIGNING_KEY": os.environ["JWT_SECRET"], "AUDIENCE": "shop"},
)

import django  # noqa: E402 - the settings come first

django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import include, path  # noqa: E402
from drf_spectacular.views import SpectacularAPIView  # noqa: E402
from rest_framework import serializers, status  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402

items: list[dict[str, object]] = []


class ItemSerializer(serializers.Serializer):
    name = serializers.CharField()
    quantity = serializers.IntegerField(min_value=1)


class Items(APIView):
    serializer_class = ItemSerializer

    def get(self, request: Request) -> Response:
        return Response(items)

    def post(self, request: Request) -> Response:
        serializer = ItemSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        items.append(serializer.validated_data)
        return Response(serializer.validated_data, status=status.HTTP_201_CREATED)


class Health(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class Slow(Health):
    def get(self, request: Request) -> Response:
        time.sleep(2)
        return Response("done")


class Endless(Health):
    def get(self, request: Request) -> Response:
        time.sleep(3600)
        return Response("done")


class Error(Health):
    def get(self, request: Request) -> Response:
        raise RuntimeError("a fault of the program")


urlpatterns = [
    path("", include("django_prometheus.urls")),
    path("health", Health.as_view()),
    path("items", Items.as_view()),
    path("slow", Slow.as_view()),
    path("endless", Endless.as_view()),
    path("error", Error.as_view()),
    path("api/schema/", SpectacularAPIView.as_view(permission_classes=[], authentication_classes=[])),
]
handler400 = "rest_framework.exceptions.bad_request"
handler500 = "rest_framework.exceptions.server_error"
application = get_wsgi_application()
