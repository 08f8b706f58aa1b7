"""Which `promptflow` names are provided, and what to use for those that are not."""

from __future__ import annotations

from collections.abc import Mapping

from phoundry.flows.signature import CONNECTION_CLASSES, STRONG_TYPE_BASE

ROOT = "promptflow"
Names = Mapping[str, str]


def _from(module: str, *names: str) -> dict[str, str]:
    return dict.fromkeys(names, module)


_CORE = _from("core", "tool", "ToolProvider", "log_metric", "log_flow_metric")
_TOOL = _from("core", "tool", "ToolProvider")
_CONNECTIONS = _from("connections", *CONNECTION_CLASSES, STRONG_TYPE_BASE)
_TRACING = _from("tracing", "trace", "start_trace", "ThreadPoolExecutorWithContext")
_TYPES = _from("types", "Secret", "PromptTemplate", "FilePath", "AssistantDefinition")
_MULTIMEDIA = _from("multimedia", "Image", "PFBytes", "Text")
_FLOWS = _from("flow", "Flow", "AsyncFlow") | _from("prompty", "Prompty", "AsyncPrompty")
_MODELS = _from(
    "model_configuration",
    "ModelConfiguration",
    "AzureOpenAIModelConfiguration",
    "OpenAIModelConfiguration",
)
_CLIENT = {"PFClient": "client", "load_flow": "flow"}
_EXCEPTIONS = _from(
    "exceptions",
    "PromptflowException",
    "UserErrorException",
    "SystemErrorException",
    "ValidationException",
    "ErrorTarget",
)
_ENTITIES = (
    _CONNECTIONS
    | _from("types", "InputSetting", "DynamicList")
    | {"FlowContext": "flow", "Flow": "flow"}
)
_LOGS = _from("logs", "get_logger", "logger", "flow_logger", "bulk_logger", "LoggerFactory")
_PROMPTS = _from(
    "prompts",
    "PromptResult",
    "build_messages",
    "parse_chat",
    "preprocess_template_string",
    "render_jinja_template",
    "to_bool",
    "validate_role",
)
_CALLS = _from(
    "prompts",
    "handle_openai_error",
    "init_azure_openai_client",
    "init_openai_client",
    "normalize_connection_config",
)
_TOOL_ERRORS = {
    "ChatAPIInvalidFunctions": "model_errors",
    "ChatAPIInvalidTools": "model_errors",
    "ChatAPIFunctionRoleInvalidFormat": "model_errors",
    "ChatAPIToolRoleInvalidFormat": "model_errors",
    "LLMError": "model_errors",
    "ChatAPIInvalidRole": "model_errors",
    "InvalidConnectionType": "model_errors",
    "JinjaTemplateError": "model_errors",
    "ToolValidationError": "model_errors",
    "WrappedOpenAIError": "model_errors",
    "SerpAPIUserError": "web_tools",
    "SerpAPISystemError": "web_tools",
    "AzureContentSafetyInputValueError": "web_tools",
    "AzureContentSafetySystemError": "web_tools",
}

# Module → name → the module of this folder that has it, with `:name` where it is called otherwise
# there. Every package on the way is listed.
TABLE: Mapping[str, Names] = {
    "promptflow": _CORE | _CLIENT | _from("tracing", "trace", "start_trace"),
    "promptflow.core": _CORE | _FLOWS | _MODELS,
    "promptflow.core._flow": _FLOWS,
    "promptflow.core._model_configuration": _MODELS,
    "promptflow.core._connection": _CONNECTIONS,
    "promptflow.core._prompty_utils": _PROMPTS | _CALLS,
    "promptflow._core": {},
    "promptflow._core.tool": _TOOL | _from("types", "InputSetting", "DynamicList"),
    "promptflow._core.metric_logger": {"log_metric": "core"},
    "promptflow._core.tracer": {"trace": "tracing"},
    "promptflow._internal": _TOOL
    | {"log_metric": "core", "trace": "tracing"}
    | _from("prompts", "enable_cache", "register_apis", "register_builtins"),
    "promptflow._sdk": {},
    "promptflow._sdk.entities": _ENTITIES,
    "promptflow._sdk.entities._connection": _CONNECTIONS,
    "promptflow._sdk._pf_client": {"PFClient": "client"},
    "promptflow._sdk._load_functions": {"load_flow": "flow"},
    "promptflow._utils": {},
    "promptflow._utils.logger_utils": _LOGS,
    "promptflow._utils.yaml_utils": _from("logs", "load_yaml", "load_yaml_string"),
    "promptflow.connections": _CONNECTIONS,
    "promptflow.entities": _ENTITIES,
    "promptflow.exceptions": _EXCEPTIONS,
    "promptflow.tracing": _TRACING,
    "promptflow.tracing._trace": {"trace": "tracing"},
    "promptflow.client": _CLIENT | {"FlowContext": "flow"},
    "promptflow.contracts": {},
    "promptflow.contracts.multimedia": _MULTIMEDIA,
    "promptflow.contracts.types": _TYPES,
    "promptflow.tools": {
        "AzureOpenAI": "model_tools",
        "OpenAI": "model_tools",
    },
    "promptflow.tools.aoai": {
        "AzureOpenAI": "model_tools",
        "chat": "model_tools:aoai_chat",
        "completion": "model_tools:aoai_completion",
    },
    "promptflow.tools.openai": {
        "OpenAI": "model_tools",
        "chat": "model_tools:openai_chat",
        "completion": "model_tools:openai_completion",
    },
    "promptflow.tools.llm": {"llm": "model_tools"},
    "promptflow.tools.embedding": {"embedding": "model_tools"},
    "promptflow.tools.common": _PROMPTS | _CALLS | {"ChatAPIInvalidFunctions": "model_errors"},
    "promptflow.tools.exception": _TOOL_ERRORS,
    "promptflow.tools.aoai_gpt4v": {"AzureOpenAI": "model_tools"},
    "promptflow.tools.openai_gpt4v": {"OpenAI": "model_tools"},
    "promptflow.tools.llm_vision": {"llm_vision": "model_tools"},
    "promptflow.tools.serpapi": _from("web_tools", "SerpAPI", "search"),
    "promptflow.tools.azure_content_safety": {"analyze_text": "web_tools"},
    "promptflow.tools.template_rendering": {"render_template_jinja2": "prompts"},
}
# What to use for things that are asked for often and not provided.
INSTEAD: Mapping[str, str] = {
    "promptflow.tools": "call the service's HTTP API or its own package in a Python tool",
    "promptflow.azure": "run the flow here; Phoundry does not send flows to Azure",
    "promptflow.evals": "write the metric as a Python tool with `aggregation: true`, or as a "
    "prompty; azure-ai-evaluation has the evaluators that moved there",
    "promptflow.rag": "use a package for your index in a Python tool",
    "promptflow.executor": "run flows with promptflow.client.load_flow",
    "promptflow.batch": "run flows over data with: phoundry run create",
    "promptflow.client.load_run": "use it in a script (python -m phoundry.promptflow SCRIPT), "
    "or see runs with: phoundry run list",
    "promptflow.entities.Run": "use it in a script (python -m phoundry.promptflow SCRIPT), or see "
    "runs with: phoundry run list",
    "promptflow.integrations": "call the flow with promptflow.client.load_flow",
    "promptflow.parallel": "run flows over data with: phoundry run create",
}


def not_provided(name: str) -> str:
    """The message for a name that nothing stands behind."""
    advice = next(
        (
            INSTEAD[key]
            for key in sorted(INSTEAD, key=len, reverse=True)
            if name == key or name.startswith(f"{key}.")
        ),
        "import what the tool needs from another package, or drop the import",
    )
    return f"Phoundry does not provide '{name}' to flows; {advice}."
