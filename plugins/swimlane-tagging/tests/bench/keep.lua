function envoy_on_request(handle)
  local headers = handle:headers()
  local lane = headers:get("x-swimlane")
  if lane ~= "canary" and lane ~= "production" then
    headers:replace("x-swimlane", "production")
  end
end
