{{/* The store that replicas share, and the relay between them: where each is and what a pod is told of it. */}}

{{/* The Secret with the store's URL; empty without a store. */}}
{{- define "moorage.storeSecret" -}}
{{- .Values.store.existingSecret.name | default (ternary (include "moorage.valkeyName" .) "" .Values.store.valkey.enabled) -}}
{{- end -}}

{{- define "moorage.storeKey" -}}
{{- ternary .Values.store.existingSecret.key "url" (not (empty .Values.store.existingSecret.name)) -}}
{{- end -}}

{{/*
What the release's keys in the store begin with: releases that share a store share nothing in it. A name that is too long for the setting
(64 characters) is cut, and ends in its hash.
*/}}
{{- define "moorage.storePrefix" -}}
{{- $whole := printf "moorage:%s:%s" .Release.Namespace .Release.Name -}}
{{- ternary $whole (printf "%s.%s" (trunc 51 $whole) (sha256sum $whole | trunc 12)) (le (len $whole) 64) -}}
{{- end -}}

{{/*
Who the pods are to the trial Valkey, before the password: its keys are all theirs, its administration is nobody's. `default` has no way in.
*/}}
{{- define "moorage.valkeyUsers" -}}
user default off
user moorage on resetchannels ~* +@all -@admin -@dangerous +info
{{- end -}}

{{/* 52 characters at most: a StatefulSet's name and a hash make a label of its pods. */}}
{{- define "moorage.valkeyName" -}}
{{- include "moorage.fullname" . | trunc 45 | trimSuffix "-" }}-valkey
{{- end -}}

{{- define "moorage.valkeySelectorLabels" -}}
{{ include "moorage.identity" . }}
app.kubernetes.io/component: valkey
{{- end -}}

{{- define "moorage.valkeyLabels" -}}
{{ include "moorage.commonLabels" . }}
app.kubernetes.io/component: valkey
{{- end -}}

{{- define "moorage.valkeyImage" -}}
{{- $image := .Values.store.valkey.image -}}
{{- $image.repository }}{{ ternary (printf "@%s" $image.digest) (printf ":%s" $image.tag) (not (empty $image.digest)) -}}
{{- end -}}

{{/* Memory alone, or a log of every write that is flushed each second. */}}
{{- define "moorage.valkeyDurability" -}}
{{- $memory := list "--save" "" "--appendonly" "no" -}}
{{- $log := list "--save" "" "--appendonly" "yes" "--appendfsync" "everysec" -}}
{{- ternary $log $memory .Values.store.valkey.persistence.enabled | toYaml -}}
{{- end -}}

{{/* The doors of the workers of one pod: the first port and the last. */}}
{{- define "moorage.relayPorts" -}}
{{- $first := dig "relay" "port" 9191 .Values.config | int -}}
{{- $workers := dig "server" "workers" 1 .Values.config | int -}}
{{- list $first (add $first $workers -1 | int) | toJson -}}
{{- end -}}

{{/* Those ports as a NetworkPolicy has them. */}}
{{- define "moorage.relayPolicyPorts" -}}
{{- $ports := include "moorage.relayPorts" . | fromJsonArray -}}
- port: {{ first $ports }}
{{- if ne (first $ports) (last $ports) }}
  endPort: {{ last $ports }}
{{- end }}
  protocol: TCP
{{- end -}}

{{/* And as a container has them. */}}
{{- define "moorage.relayContainerPorts" -}}
{{- $ports := include "moorage.relayPorts" . | fromJsonArray -}}
{{- range untilStep (first $ports | int) (add (last $ports) 1 | int) 1 }}
- name: relay{{ if ne . (first $ports | int) }}-{{ sub . (first $ports | int) | add1 }}{{ end }}
  containerPort: {{ . }}
  protocol: TCP
{{- end }}
{{- end -}}

{{- define "moorage.storeEnv" -}}
{{- if include "moorage.storeSecret" . }}
- name: MOORAGE_STORE__URL_FILE
  value: /etc/moorage-store/url
{{- if or .Values.store.ca.configMap .Values.store.ca.secret }}
- name: MOORAGE_STORE__CA_FILE
  value: /etc/moorage-store-ca/ca.crt
{{- end }}
- name: MOORAGE_RELAY__HOST # of the family that the public listener has
  value: {{ ternary "::" "0.0.0.0" (contains ":" .Values.config.server.host) | quote }}
- name: MOORAGE_RELAY__ADVERTISE
  valueFrom:
    fieldRef:
      apiVersion: v1
      fieldPath: status.podIP
{{- end }}
{{- end -}}

{{- define "moorage.storeMounts" -}}
{{- if include "moorage.storeSecret" . }}
- name: store
  mountPath: /etc/moorage-store
  readOnly: true
{{- if or .Values.store.ca.configMap .Values.store.ca.secret }}
- name: store-ca
  mountPath: /etc/moorage-store-ca
  readOnly: true
{{- end }}
{{- end }}
{{- end -}}

{{- define "moorage.storeVolumes" -}}
{{- with include "moorage.storeSecret" . }}
- name: store
  secret:
    secretName: {{ . }}
    items:
      - key: {{ include "moorage.storeKey" $ }}
        path: url
{{- end }}
{{- range $kind, $field := dict "configMap" "name" "secret" "secretName" }}
{{- with get $.Values.store.ca $kind }}
- name: store-ca
  {{ $kind }}:
    {{ $field }}: {{ . }}
    items:
      - key: {{ $.Values.store.ca.key }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end -}}
