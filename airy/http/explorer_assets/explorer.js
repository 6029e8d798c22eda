"use strict";
// A token that is entered stays in this page's memory: it is neither stored nor sent to another host.
SwaggerUIBundle({
  dom_id: "#explorer",
  url: "/schema/openapi.json",
  deepLinking: true,
  docExpansion: "none",
  filter: true,
  persistAuthorization: false,
  validatorUrl: null,
  requestInterceptor: (request) => {
    request.headers["X-Requested-With"] = "XMLHttpRequest"; // a request with the session cookie needs it
    return request;
  },
});
