{{- define "osb.name" -}}
{{- default (printf "%s-broker" .Values.broker.name) .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "osb.fullname" -}}
{{- default (include "osb.name" .) .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "osb.group" -}}
{{- default (printf "%s.osb.internal" .Values.broker.name) .Values.broker.group -}}
{{- end -}}

{{- define "osb.selector" -}}
app.kubernetes.io/name: {{ include "osb.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "osb.labels" -}}
{{ include "osb.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* An etcd of its own runs in the pod. */}}
{{- define "osb.etcdInPod" -}}
{{- if and (eq .Values.home "etcd") (not .Values.etcd.endpoints) -}}true{{- end -}}
{{- end -}}

{{/* What the pod keeps on a volume of its own. */}}
{{- define "osb.stateful" -}}
{{- if or (eq .Values.home "embedded") (include "osb.etcdInPod" .) -}}true{{- end -}}
{{- end -}}

{{- define "osb.loginSecret" -}}
{{- default (printf "%s-login" (include "osb.fullname" .)) .Values.login.secret -}}
{{- end -}}

{{- define "osb.sealingSecret" -}}
{{- default (printf "%s-keys" (include "osb.fullname" .)) .Values.sealingSecret -}}
{{- end -}}

{{- define "osb.tlsSecret" -}}
{{- default (printf "%s-tls" (include "osb.fullname" .)) .Values.tls.secret -}}
{{- end -}}

{{- define "osb.scheme" -}}
{{- if .Values.tls.enabled -}}https{{- else -}}http{{- end -}}
{{- end -}}

{{- define "osb.host" -}}
{{ include "osb.fullname" . }}.{{ .Release.Namespace }}.svc
{{- end -}}

{{/* Something that a Secret of the chart has already: the same in each upgrade. */}}
{{- define "osb.kept" -}}
{{- $found := lookup "v1" "Secret" .namespace .secret -}}
{{- if and $found $found.data -}}{{- index $found.data .key | default "" -}}{{- end -}}
{{- end -}}

{{/*
The certificate that the chart signs, as YAML: `certificate`, `key` and `ca` in base64. The one of an earlier installation stays; a new
one is made once for all templates of a rendering.
*/}}
{{- define "osb.signed" -}}
{{- if not (hasKey .Values "signed") -}}
{{- $secret := include "osb.tlsSecret" . -}}
{{- $made := dict -}}
{{- range $name, $key := dict "certificate" "tls.crt" "key" "tls.key" "ca" "ca.crt" -}}
{{- $kept := include "osb.kept" (dict "namespace" $.Release.Namespace "secret" $secret "key" $key) -}}
{{- if $kept -}}{{- $_ := set $made $name $kept -}}{{- end -}}
{{- end -}}
{{- if ne (len $made) 3 -}}
{{- $host := include "osb.host" . -}}
{{- $fullname := include "osb.fullname" . -}}
{{- $names := list $host (printf "%s.cluster.local" $host) $fullname (printf "%s.%s" $fullname .Release.Namespace) -}}
{{- $authority := genCA (printf "%s-ca" $fullname) 3650 -}}
{{- $signed := genSignedCert $host nil $names 3650 $authority -}}
{{- $made = dict "certificate" ($signed.Cert | b64enc) "key" ($signed.Key | b64enc) "ca" ($authority.Cert | b64enc) -}}
{{- end -}}
{{- $_ := set .Values "signed" $made -}}
{{- end -}}
{{- toYaml .Values.signed -}}
{{- end -}}
