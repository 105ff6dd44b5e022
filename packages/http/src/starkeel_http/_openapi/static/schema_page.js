// Configures Swagger UI; a file of its own, as the page's Content-Security-Policy forbids inline scripts.
const ui = SwaggerUIBundle({
  url: document.body.dataset.document,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  responseInterceptor: (response) => {
    // Signing in by "Try it out" authorizes the other operations, as pasting the token into "Authorize" does.
    const { access_token: token, token_type: type } = response.body ?? {};
    if (response.ok && typeof token === "string" && type === "Bearer") {
      const { components } = ui.getSystem().specSelectors.specJson().toJS();
      for (const [name, scheme] of Object.entries(components?.securitySchemes ?? {})) {
        if (scheme.type === "http" && scheme.scheme === "bearer") {
          ui.preauthorizeApiKey(name, token);
        }
      }
    }
    return response;
  },
});
