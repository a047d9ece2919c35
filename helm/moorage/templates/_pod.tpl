{{/* What makes pods roll. API keys and sealing keys are not among it: the service takes them up from their files as they change. */}}
{{- define "moorage.checksums" -}}
checksum/config: {{ include "moorage.configThatRolls" . | sha256sum }}
{{- with .Values.tools.files }}
checksum/tools: {{ toJson . | sha256sum }}
{{- end }}
{{- range list (list "tools" "ConfigMap" .Values.tools.configMap) (list "otel-headers" "Secret" .Values.otel.headersSecret.name) (list "store" "Secret" .Values.store.existingSecret.name) (list "store-ca" "ConfigMap" .Values.store.ca.configMap) (list "store-ca" "Secret" .Values.store.ca.secret) }}
{{- $what := first . }}
{{- with include "moorage.lookupChecksum" (dict "namespace" $.Release.Namespace "kind" (index . 1) "name" (last . | default "-")) }}
checksum/{{ $what }}: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "moorage.podSpec" -}}
serviceAccountName: {{ include "moorage.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.drain.gracePeriodSeconds | default (include "moorage.drainSeconds" .) }}
securityContext:
  {{- include "moorage.podSecurityContext" . | nindent 2 }}
containers:
  - name: moorage
    {{- include "moorage.container" . | nindent 4 }}
volumes:
  {{- include "moorage.volumes" . | nindent 2 }}
{{- include "moorage.scheduling" . }}
{{- end -}}

{{- define "moorage.container" -}}
image: {{ include "moorage.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "moorage.containerSecurityContext" . | nindent 2 }}
env:
  {{- include "moorage.env" . | nindent 2 }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
ports:
  - name: http
    containerPort: {{ .Values.config.server.port }}
    protocol: TCP
  - name: admin
    containerPort: {{ .Values.config.admin.port }}
    protocol: TCP
  {{- if include "moorage.storeSecret" . }}
  {{- include "moorage.relayContainerPorts" . | nindent 2 }}
  {{- end }}
{{- range $probe, $path := dict "startup" "/startupz" "liveness" "/livez" "readiness" "/readyz" }}
{{ $probe }}Probe:
  httpGet:
    path: {{ $path }}
    port: admin
    scheme: HTTP
  {{- toYaml (get $.Values.probes $probe) | nindent 2 }}
{{- end }}
{{- with .Values.drain.preStopSeconds }}
lifecycle:
  preStop:
    sleep:
      seconds: {{ . }}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  {{- include "moorage.volumeMounts" . | nindent 2 }}
{{- end -}}

{{/* Directories, not single files: only those follow a change of their ConfigMap or Secret. */}}
{{- define "moorage.volumeMounts" -}}
- name: config
  mountPath: /etc/moorage
  readOnly: true
{{- if .Values.auth.enabled }}
- name: api-keys
  mountPath: /etc/moorage-keys
  readOnly: true
{{- end }}
- name: sealing-keys
  mountPath: /etc/moorage-sealing
  readOnly: true
{{- include "moorage.storeMounts" . }}
{{- if include "moorage.toolsConfigMap" . }}
- name: tools
  mountPath: /srv/tools
  readOnly: true
{{- end }}
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "moorage.volumes" -}}
- name: config
  configMap:
    name: {{ include "moorage.fullname" . }}
{{- if .Values.auth.enabled }}
- name: api-keys
  secret:
    secretName: {{ include "moorage.apiKeysSecret" . }}
    items:
      - key: api-keys
        path: api-keys
{{- end }}
- name: sealing-keys
  secret:
    secretName: {{ include "moorage.sealingKeysSecret" . }}
    items:
      - key: sealing-keys
        path: sealing-keys
{{- include "moorage.storeVolumes" . }}
{{- with include "moorage.toolsConfigMap" . }}
- name: tools
  configMap:
    name: {{ . }}
{{- end }}
- name: tmp
  emptyDir:
    {{- toYaml .Values.tmp | nindent 4 }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "moorage.scheduling" -}}
{{- range $field := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- with get $.Values $field }}
{{ $field }}: {{ kindIs "string" . | ternary . (toYaml . | nindent 2) }}
{{- end }}
{{- end }}
{{- if .Values.topologySpread.enabled }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "moorage.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}
