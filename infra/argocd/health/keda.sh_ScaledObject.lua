-- Scaling is healthy when the metric can be read. The fallback keeps replicas up, but nobody scales then.
local is = {}
for _, condition in ipairs((obj.status and obj.status.conditions) or {}) do
  is[condition.type] = condition
end
local function holds(name, status)
  return is[name] ~= nil and is[name].status == status
end

if holds("Ready", "False") then
  return { status = "Degraded", message = is["Ready"].message or "Not ready" }
end
if holds("Fallback", "True") then
  return { status = "Degraded", message = is["Fallback"].message or "The metric cannot be read" }
end
if holds("Paused", "True") then
  return { status = "Suspended", message = is["Paused"].message or "Scaling is paused" }
end
if holds("Ready", "True") then
  return { status = "Healthy", message = is["Ready"].message or "Ready" }
end
return { status = "Progressing", message = "Waiting for KEDA" }
