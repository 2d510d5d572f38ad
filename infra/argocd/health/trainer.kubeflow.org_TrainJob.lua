-- A training job ends once; until then it is under way, or suspended until somebody resumes it.
for _, condition in ipairs((obj.status and obj.status.conditions) or {}) do
  if condition.status == "True" then
    local message = condition.message or condition.reason or ""
    if condition.type == "Failed" then
      return { status = "Degraded", message = message }
    end
    if condition.type == "Complete" then
      return { status = "Healthy", message = message }
    end
    if condition.type == "Suspended" then
      return { status = "Suspended", message = message }
    end
  end
end
return { status = "Progressing", message = "The job is training" }
