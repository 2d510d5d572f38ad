-- A route is healthy when every gateway that it names has accepted it as it is now, and has found its Service.
local wanted = 0
for _ in ipairs((obj.spec and obj.spec.parentRefs) or {}) do
  wanted = wanted + 1
end
local ready = 0
for _, parent in ipairs((obj.status and obj.status.parents) or {}) do
  local gateway = (parent.parentRef and parent.parentRef.name) or "?"
  local is = {}
  for _, condition in ipairs(parent.conditions or {}) do
    local generation = condition.observedGeneration or obj.metadata.generation
    if generation == obj.metadata.generation then
      is[condition.type] = condition.status
      local pending = condition.reason == "Pending" or condition.status == "Unknown"
      if condition.status ~= "True" and not pending
        and (condition.type == "Accepted" or condition.type == "ResolvedRefs") then
        return { status = "Degraded", message = gateway .. ": " .. (condition.message or condition.reason or "") }
      end
    end
  end
  if is["Accepted"] == "True" and is["ResolvedRefs"] == "True" then
    ready = ready + 1
  end
end
if ready > 0 and ready >= wanted then
  return { status = "Healthy", message = "Accepted by every gateway" }
end
return { status = "Progressing", message = "Not accepted by every gateway yet" }
