"""The keys of Copilot's manifests, after its documentation (aws/copilot-cli, site/content/docs/manifest) and the types
that read them (internal/pkg/manifest). What contains other keys and takes no value of its own is left out."""

_HEALTH = "path port success_codes healthy_threshold unhealthy_threshold interval timeout grace_period"
_CHECK = "command interval retries timeout start_period"
_FIFO = "content_based_deduplication deduplication_scope throughput_limit high_throughput"


def _under(key: str, names: str) -> list[str]:
    """The key, and the names under it."""
    return [key, *(f"{key}.{name}" for name in names.split())]


SERVICES_AND_JOBS = [
    "name",
    "type",
    "environments",
    *_under("http", "path alb target_container targetContainer target_port stickiness allowed_source_ips hosted_zone"),
    *_under("http.alias", "name hosted_zone"),
    *("http.deregistration_delay", "http.redirect_to_https", "http.version"),
    *_under(
        "http.additional_rules", "path alias target_port target_container healthcheck version deregistration_delay"
    ),
    *_under("http.additional_rules", "stickiness allowed_source_ips hosted_zone redirect_to_https")[1:],
    *_under("http.healthcheck", _HEALTH),
    *_under("nlb", "port healthcheck target_container target_port ssl_policy stickiness alias deregistration_delay"),
    "nlb.additional_listeners",
    *_under("image.build", "dockerfile context target args cache_from"),
    *("image.location", "image.credentials", "image.labels", "image.port", "image.depends_on"),
    *_under("image.healthcheck", _CHECK),
    *("entrypoint", "command", "cpu", "memory"),
    *_under("platform", "osfamily architecture"),
    *_under("count", "spot cpu_percentage memory_percentage requests response_time"),
    *_under("count.range", "min max spot_from"),
    *_under("count.cooldown", "in out"),
    *_under("count.queue_delay", "acceptable_latency msg_processing_time"),
    *_under("exec", "enable"),
    "deployment.rolling",
    *_under("deployment.rollback_alarms", "cpu_utilization memory_utilization messages_delayed"),
    *_under("network.connect", "alias"),
    "network.vpc.placement",
    *_under("network.vpc.placement.subnets", "from_tags"),
    *_under("network.vpc.security_groups", "from_cfn deny_default"),
    *("variables", "variables.<name>.from_cfn", "env_file"),
    *("secrets", "secrets.<name>.from_cfn", "secrets.<name>.secretsmanager"),
    *("storage.ephemeral", "storage.readonly_fs", "storage.volumes"),
    *_under("storage.volumes.<name>", "path read_only")[1:],
    *_under("storage.volumes.<name>.efs", "id root_dir uid gid"),
    *_under("storage.volumes.<name>.efs.auth", "iam access_point_id"),
    *_under("publish", "topics topics.name topics.allowed_workers"),
    *_under("publish.topics.fifo", "content_based_deduplication"),
    *_under("subscribe", "topics topics.name topics.service topics.filter_policy topics.queue"),
    *_under("subscribe.queue", "retention delay timeout dead_letter dead_letter.tries"),
    *_under("subscribe.queue.fifo", _FIFO),
    *_under("logging", "retention image destination enableMetadata secretOptions configFilePath")[1:],
    *("logging.variables", "logging.secrets", "logging.env_file"),
    "observability.tracing",
    "sidecars",
    *_under("sidecars.<name>", "port essential credentialsParameter variables secrets env_file labels depends_on")[1:],
    *_under("sidecars.<name>", "entrypoint command healthcheck")[1:],
    *_under("sidecars.<name>.image", "build location"),
    *_under("sidecars.<name>.mount_points", "source_volume path read_only"),
    *_under("taskdef_overrides", "path value"),
    *("on", "on.schedule", "retries", "timeout"),
]
REQUEST_DRIVEN = [
    *_under("http.healthcheck", "path healthy_threshold unhealthy_threshold interval timeout"),
    *("http.alias", "http.private", "http.private.endpoint"),
    *(
        "image",
        "cpu",
        "memory",
        "platform",
        "variables",
        "secrets",
        "command",
        "publish",
        "environments",
        "count",
        "tags",
    ),
    *("network.vpc.placement", "observability.tracing"),
]
STATIC_SITE = ["http.alias", "http.certificate", *_under("files", "source destination recursive exclude reinclude")]
ENVIRONMENT = [
    *("name", "type", "network.vpc.id", "network.vpc.cidr"),
    *(f"network.vpc.subnets.{kind}.{key}" for kind in ("public", "private") for key in ("id", "cidr", "az")),
    *_under("network.vpc.security_group", "ingress egress ingress.ip_protocol ingress.ports ingress.cidr"),
    *_under("network.vpc.flow_logs", "retention"),
    *_under("cdn", "certificate terminate_tls static_assets"),
    *_under("cdn.static_assets", "location alias path")[1:],
    *(f"http.{kind}.{key}" for kind in ("public", "private") for key in ("certificates", "ssl_policy")),
    *_under("http.public.access_logs", "bucket_name prefix"),
    *("http.public.ingress.source_ips", "http.public.ingress.cdn"),
    "http.public.security_groups.ingress.restrict_to.cdn",
    *("http.private.subnets", "http.private.ingress.vpc", "http.private.security_groups.ingress.from_vpc"),
    "observability.container_insights",
]
PIPELINE = [
    *("name", "version", "source.provider"),
    *_under("source.properties", "repository branch connection_name output_artifact_format access_token_secret")[1:],
    "source.properties.polling",
    *("build.image", "build.buildspec", "build.additional_policy"),
    *_under("stages", "name requires_approval test_commands"),
    *_under("stages.deployments", "stack_name template_path template_config depends_on"),
    *_under("stages.pre_deployments", "buildspec depends_on"),
    *_under("stages.post_deployments", "buildspec depends_on"),
]
KEYS = {
    "Services and jobs": SERVICES_AND_JOBS,
    "Request-Driven Web Services": REQUEST_DRIVEN,
    "Static sites": STATIC_SITE,
    "Environments": ENVIRONMENT,
    "Pipelines": PIPELINE,
}
"""By section of docs/from-copilot.md."""
