function envoy_on_request(handle)
  handle:headers():replace("x-template", "1")
end
