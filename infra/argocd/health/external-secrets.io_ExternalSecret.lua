-- The Secret is there and as its source has it.
for _, condition in ipairs((obj.status and obj.status.conditions) or {}) do
  if condition.type == "Ready" and condition.status == "True" then
    return { status = "Healthy", message = condition.message or "Synchronized" }
  end
  if condition.type == "Ready" and condition.status == "False" then
    return { status = "Degraded", message = condition.message or condition.reason or "The source cannot be read" }
  end
end
return { status = "Progressing", message = "Waiting for External Secrets" }
