// Configures Swagger UI; a file of its own, as the page's Content-Security-Policy forbids inline scripts.
SwaggerUIBundle({
  url: document.body.dataset.document,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
