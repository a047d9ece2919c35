{{/* The server's environment. A name stands once: the API server refuses doubles. */}}
{{- define "moorage.env" -}}
- name: MOORAGE_CONFIG
  value: /etc/moorage/config.yaml
- name: MOORAGE_SERVER__HOST # the image says so too, and the environment wins over the file
  value: {{ .Values.config.server.host | quote }}
- name: MOORAGE_ADMIN__HOST
  value: {{ .Values.config.admin.host | quote }}
{{- with include "moorage.target" . }}
- name: MOORAGE_TARGET
  value: {{ . | quote }}
{{- end }}
{{- if .Values.auth.enabled }}
- name: MOORAGE_SECURITY__API_KEYS_FILE
  value: /etc/moorage-keys/api-keys
{{- end }}
- name: MOORAGE_SECURITY__SEALING_KEYS_FILE
  value: /etc/moorage-sealing/sealing-keys
{{- include "moorage.storeEnv" . }}
{{- include "moorage.podEnv" . }}
{{- include "moorage.otelEnv" . }}
{{- end -}}

{{/* Who the pod is, for the resource of its traces and metrics. */}}
{{- define "moorage.podEnv" -}}
{{- range $name, $path := dict "MOORAGE_POD_NAME" "metadata.name" "MOORAGE_POD_NAMESPACE" "metadata.namespace" "MOORAGE_POD_UID" "metadata.uid" "MOORAGE_NODE_NAME" "spec.nodeName" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: {{ $path }}
{{- end }}
{{- end -}}

{{- define "moorage.otelEnv" -}}
{{- with .Values.otel.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ $.Values.otel.protocol }}
{{- end }}
{{- with .Values.otel.headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.otel.headersSecret.key }}
{{- end }}
{{- with .Values.otel.resourceAttributes }}
{{- $pairs := list }}
{{- range $name, $value := . }}{{ $pairs = append $pairs (printf "%s=%s" $name $value) }}{{ end }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ join "," $pairs | quote }}
{{- end }}
{{- end -}}
