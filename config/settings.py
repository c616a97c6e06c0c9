"""Django's settings, built from the deployment; nothing here asks which profile runs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from config import deployment, env, observability

BASE_DIR = Path(__file__).resolve().parent.parent
DEPLOYMENT = deployment.current()

SECRET_KEY = DEPLOYMENT.secret_key
DEBUG = env.flag("KAIROS_DEBUG")
BASE_URL = DEPLOYMENT.base_url
DATA_DIR = DEPLOYMENT.data_dir
_HOST = urlsplit(BASE_URL)
IS_HTTPS = _HOST.scheme == "https"
ALLOWED_HOSTS = sorted(
    {_HOST.hostname or "127.0.0.1", "127.0.0.1", "localhost", *env.text("KAIROS_ALLOWED_HOSTS", "").split(",")} - {""}
)
CSRF_TRUSTED_ORIGINS = [BASE_URL]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_cotton",
    "csp",
    "allauth",
    "allauth.account",
    "config",
    "accounts",
    "analytics",
    "billing",
    "gateway",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "accounts.context_processors.organization",
            ],
        },
    }
]
COTTON_DIR = "components"

DATABASES = {"default": DEPLOYMENT.database}
CACHES = {"default": DEPLOYMENT.cache}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"

CLICKHOUSE_DSN = DEPLOYMENT.clickhouse_dsn
CLICKHOUSE_IS_EMBEDDED = DEPLOYMENT.clickhouse_is_embedded
# A cluster's name renders the DDL with ON CLUSTER and replicated engines; empty is one server.
CLICKHOUSE_CLUSTER = env.text("KAIROS_CLICKHOUSE_CLUSTER", "")
RUNS_WORKER_IN_PROCESS = DEPLOYMENT.runs_worker_in_process

CELERY_BROKER_URL = DEPLOYMENT.broker_url
REDIS_URL = DEPLOYMENT.redis_url
# Whether calls under a budget go through while Redis is away and what was leased from it is spent.
LIMITS_ALLOW_WITHOUT_REDIS = env.flag("KAIROS_LIMITS_ALLOW_WITHOUT_REDIS")
CELERY_BROKER_TRANSPORT_OPTIONS = DEPLOYMENT.broker_options

# The data plane.
SPOOL_DIR = DATA_DIR / "spool"
SPOOL_SYNC_INTERVAL_MS = env.integer("KAIROS_SPOOL_SYNC_INTERVAL_MS", 50)
SPOOL_SEGMENT_BYTES = env.integer("KAIROS_SPOOL_SEGMENT_BYTES", 16 * 1024 * 1024)
SPOOL_SEGMENT_SECONDS = env.integer("KAIROS_SPOOL_SEGMENT_SECONDS", 1)
# A segment that the ledger does not have after this long is sent again; loading it twice has no effect.
SEGMENT_REDELIVERY_SECONDS = env.integer("KAIROS_SEGMENT_REDELIVERY_SECONDS", 60)
IDEMPOTENCY_TTL_S = env.integer("KAIROS_IDEMPOTENCY_TTL_S", 86_400)
KEPT_ANSWERS_MAX_BYTES = env.integer("KAIROS_KEPT_ANSWERS_MAX_BYTES", 1024 * 1024 * 1024)
MAX_REQUEST_BYTES = env.integer("KAIROS_MAX_REQUEST_BYTES", 32 * 1024 * 1024)
PROVIDER_SETTINGS = env.with_prefix("KAIROS_PROVIDER_")
PRICES_SOURCE = env.text("KAIROS_PRICES_SOURCE", "")
UPSTREAM_CONNECT_TIMEOUT_S = env.integer("KAIROS_UPSTREAM_CONNECT_TIMEOUT_S", 5)
UPSTREAM_FIRST_BYTE_TIMEOUT_S = env.integer("KAIROS_UPSTREAM_FIRST_BYTE_TIMEOUT_S", 120)
UPSTREAM_FIRST_TOKEN_TIMEOUT_S = env.integer("KAIROS_UPSTREAM_FIRST_TOKEN_TIMEOUT_S", 120)
UPSTREAM_IDLE_TIMEOUT_S = env.integer("KAIROS_UPSTREAM_IDLE_TIMEOUT_S", 60)
UPSTREAM_TOTAL_TIMEOUT_S = env.integer("KAIROS_UPSTREAM_TOTAL_TIMEOUT_S", 600)
# Attempts at providers that one call may make in all, retries and fallbacks together.
MAX_ATTEMPTS = max(1, env.integer("KAIROS_MAX_ATTEMPTS", 4))
# Percent of the simulator's natural waits between tokens; 0 answers at once.
SIMULATION_SCALE = env.integer("KAIROS_SIMULATION_PACE_PERCENT", 100) / 100
MASTER_KEYS = env.text("KAIROS_MASTER_KEYS", "")
# What customers may name beyond the public internet (webhooks, collectors, model servers): names, addresses, networks.
OUTBOUND_ALLOWED_HOSTS = env.text("KAIROS_OUTBOUND_ALLOWED_HOSTS", "")

STATIC_URL = "static/"
STATIC_ROOT = None  # served from the tree itself by whitenoise's finders; nothing is collected
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31536000 if IS_HTTPS else 0
# Redirects from http, and whether subdomains follow, belong to the proxy that ends TLS.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
    }
}

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# Without it only invited people and those whom `manage.py bootstrap` makes can get an account.
SIGN_UP_IS_OPEN = env.flag("KAIROS_SIGN_UP", True)
ACCOUNT_ADAPTER = "accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {
    "add_email": "accounts.entrance_forms.AddEmailForm",
    "change_password": "accounts.entrance_forms.ChangePasswordForm",
    "login": "accounts.entrance_forms.LoginForm",
    "reset_password": "accounts.entrance_forms.ResetPasswordForm",
    "reset_password_from_key": "accounts.entrance_forms.ResetPasswordKeyForm",
    "set_password": "accounts.entrance_forms.SetPasswordForm",
    "signup": "accounts.entrance_forms.SignUpForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_DEFAULT_HTTP_PROTOCOL = _HOST.scheme
# How many proxies in front of us write X-Forwarded-For; rate limits and the audit trail use the address.
ALLAUTH_TRUSTED_PROXY_COUNT = env.integer("KAIROS_TRUSTED_PROXIES", 0)
EMAIL_HOST = env.text("KAIROS_EMAIL_HOST", "")
# Without a mail server, mails become files that only the operator reads: their links must not stand in a log.
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = DATA_DIR / "mail"
# Sign-up can hide whether an address has an account only when it ends with a mail.
ACCOUNT_EMAIL_VERIFICATION = env.text("KAIROS_EMAIL_VERIFICATION", "mandatory" if EMAIL_HOST else "none")
EMAIL_PORT = env.integer("KAIROS_EMAIL_PORT", 587)
EMAIL_HOST_USER = env.text("KAIROS_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = env.text("KAIROS_EMAIL_PASSWORD", "")
EMAIL_USE_TLS = env.flag("KAIROS_EMAIL_TLS", True)
DEFAULT_FROM_EMAIL = env.text("KAIROS_EMAIL_FROM", "KairosRoute <no-reply@localhost>")

LOGGING = observability.logging_config(
    level=env.text("KAIROS_LOG_LEVEL", "INFO"), style=env.text("KAIROS_LOG_FORMAT", "auto")
)
