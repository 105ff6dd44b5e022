"""Manifests for the tests that satisfy every row, and changes of them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]  # has no types

Documents = dict[str, Any]
Change = Callable[[Documents], None]

KUBERNETES = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, namespace: shops}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  strategy: {rollingUpdate: {maxUnavailable: 0}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 40
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: shop}}}
      containers:
        - name: shop
          image: registry.example.com:5000/shop:1.0
          args: [--verbose]
          env:
            - {name: DATABASE_PASSWORD, valueFrom: {secretKeyRef: {name: shop, key: password}}}
            - {name: DATABASE_PASSWORD_FILE, value: /run/secrets/password}
            - {name: ACCESS_TOKEN_SECONDS, value: "3600"}
          lifecycle: {preStop: {exec: {command: [sh, -c, "sleep 5"]}}}
          ports: [{name: http, containerPort: 3000}, {name: metrics, containerPort: 9090}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
          livenessProbe: {httpGet: {path: /live, port: 3000}}
          resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 0.5Gi}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: shops}
spec:
  selector: {app: shop}
  ports: [{name: http, port: 80, targetPort: http}, {name: metrics, port: 9090}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: shop, namespace: shops}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: shop}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shop, namespace: shops}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [shop]}]}
  ingress: [{from: [{podSelector: {matchLabels: {app: proxy}}}]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop, namespace: shops}
data: {LOG_LEVEL: info, DATABASE_URL: "postgresql://shop@db/shop", nginx.conf: "listen 80;\\ngzip off;\\n"}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: report, namespace: shops}
spec:
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: report}}
        spec:
          securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
          containers:
            - name: report
              image: registry.example.com:5000/shop@sha256:aaaa
              resources: {limits: {cpu: "1", memory: 64M}}
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities: {drop: [ALL]}
"""

COMPOSE = """
services:
  shop:
    build: .
    image: shop
    stop_grace_period: 1m
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
    environment:
      DATABASE_URL: postgresql://shop:${DATABASE_PASSWORD:?}@db/shop
      SESSION_SECRET_FILE: /run/secrets/session
    ports: ["127.0.0.1:${PORT:-3000}:3000", {target: 3001, published: "3001", host_ip: "127.0.0.1"}]
    deploy: {resources: {limits: {cpus: "1", memory: 128M}}}
    healthcheck: {test: [CMD, /shop, health]}
  proxy:
    image: haproxy:${HAPROXY_VERSION:-3.2}
    stop_grace_period: 30s
    ports: ["80:8080/tcp"]
    mem_limit: 128M
    cpus: 1
    depends_on:
      shop: {condition: service_healthy}
  migrate:
    build: .
    deploy: {resources: {limits: {cpus: "1", memory: 128M}}}
  db:
    image: postgres:17.10
    environment: [POSTGRES_PASSWORD_FILE=/run/secrets/password, PGUSER]
    healthcheck: {test: pg_isready}
    deploy: {resources: {limits: {cpus: "1", memory: 128M}}}
  grafana:
    image: grafana/grafana:12.0.1
    environment: {GF_SECURITY_ADMIN_PASSWORD__FILE: /run/secrets/grafana}
    deploy: {resources: {limits: {cpus: "1", memory: 128M}}}
"""


def kubernetes() -> Documents:
    """Return the documents by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES)}


def compose() -> Documents:
    """Return the services."""
    services: Documents = yaml.safe_load(COMPOSE)["services"]
    return services


def write_kubernetes(folder: Path, change: Change | None = None) -> str:
    documents = copy.deepcopy(kubernetes())
    if change is not None:
        change(documents)
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(documents.values()))
    return str(path)


def write_compose(folder: Path, change: Change | None = None) -> str:
    services = copy.deepcopy(compose())
    if change is not None:
        change(services)
    path = folder / "compose.yaml"
    path.write_text(yaml.safe_dump({"services": services}))
    return str(path)


def pod(documents: Documents) -> Documents:
    found: Documents = documents["Deployment"]["spec"]["template"]["spec"]
    return found


def container(documents: Documents) -> Documents:
    found: Documents = pod(documents)["containers"][0]
    return found


def merge(target: Documents, changes: Documents) -> None:
    """Set values of nested mappings; `None` removes a key."""
    for key, value in changes.items():
        if value is None:
            target.pop(key)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


def in_deployment(**changes: Any) -> Change:
    return lambda documents: merge(documents["Deployment"]["spec"], changes)


def in_pod(**changes: Any) -> Change:
    return lambda documents: merge(pod(documents), changes)


def in_container(**changes: Any) -> Change:
    return lambda documents: merge(container(documents), changes)


def in_kind(kind: str, /, **changes: Any) -> Change:
    return lambda documents: merge(documents[kind], changes)


def in_service(name: str, /, **changes: Any) -> Change:
    return lambda services: merge(services[name], changes)


def without(*names: str) -> Change:
    def change(documents: Documents) -> None:
        for name in names:
            documents.pop(name)

    return change


def with_document(name: str, **content: Any) -> Change:
    return lambda documents: documents.update({name: content})
