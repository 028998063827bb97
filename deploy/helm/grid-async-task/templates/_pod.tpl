{{/* Names end in at most 23 characters of our own and of Kubernetes: 63 are allowed. */}}
{{- define "name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "secret" -}}
{{ .Values.secret.name | default (include "name" .) }}
{{- end }}

{{- define "labels" -}}
app.kubernetes.io/name: {{ include "name" . }}
{{- end }}

{{/* Whichever worker KEDA removes from a Deployment can finish the task at hand. */}}
{{- define "shutdownGrace" -}}
{{- if eq .Values.mode "short-tasks" -}}
{{ max (int .Values.taskTimeout) (int .Values.shutdownGrace) }}
{{- else -}}
{{ int .Values.shutdownGrace }}
{{- end }}
{{- end }}

{{/* On which workers answer probes. */}}
{{- define "healthPort" -}}
8080
{{- end }}

{{/* A pod template of one container. Takes a dict: root, component, restart, and a command unless it is the worker. */}}
{{- define "pod" -}}
{{- /* those that look for recurring tasks */}}
{{- $recurring := and .root.Values.recurring (has .component (list "worker" "sweep")) }}
metadata:
  labels:
    {{- include "labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
  annotations:
    # new settings are new pods
    checksum/settings: {{ include "settings" .root | sha256sum }}
    {{- if $recurring }}
    checksum/recurring: {{ include "recurring" .root | sha256sum }}
    {{- end }}
spec:
  restartPolicy: {{ .restart }}
  {{- if not .command }}
  terminationGracePeriodSeconds: {{ add (include "shutdownGrace" .root | int) 15 }}
  {{- end }}
  enableServiceLinks: false
  automountServiceAccountToken: false
  securityContext:
    runAsNonRoot: true
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: {{ .component }}
      image: {{ .root.Values.image | quote }}
      {{- with .command }}
      command: {{ toJson . }}
      {{- end }}
      envFrom:
        - configMapRef: {name: {{ include "name" .root }}}
      env:
        {{- $secret := include "secret" .root }}
        - name: GRID_ASYNC_TASK_AMQP_URL
          valueFrom: {secretKeyRef: {name: {{ $secret }}, key: amqp-url}}
        - name: GRID_ASYNC_TASK_MYSQL_URL
          valueFrom: {secretKeyRef: {name: {{ $secret }}, key: mysql-url}}
        {{- if not .command }}
        - name: GRID_ASYNC_TASK_CALLBACK_SECRET
          valueFrom: {secretKeyRef: {name: {{ $secret }}, key: callback-secret, optional: true}}
        - name: GRID_ASYNC_TASK_FEISHU_WEBHOOK_URL
          valueFrom: {secretKeyRef: {name: {{ $secret }}, key: feishu-webhook-url, optional: true}}
        - name: GRID_ASYNC_TASK_FEISHU_SECRET
          valueFrom: {secretKeyRef: {name: {{ $secret }}, key: feishu-secret, optional: true}}
        {{- end }}
        {{- if $recurring }}
        - {name: GRID_ASYNC_TASK_RECURRING, value: /etc/grid-async-task/recurring.yaml}
        {{- end }}
      {{- if not .command }}
      ports:
        - {name: health, containerPort: {{ include "healthPort" .root }}}
      startupProbe:
        httpGet: {path: /started, port: health}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /live, port: health}
        periodSeconds: 30
        timeoutSeconds: 5
        failureThreshold: 4
      readinessProbe:
        httpGet: {path: /ready, port: health}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      {{- end }}
      resources:
        {{- toYaml .root.Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: logs, mountPath: /app/logs}
        - {name: tmp, mountPath: /tmp}
        {{- if $recurring }}
        - {name: recurring, mountPath: /etc/grid-async-task, readOnly: true}
        {{- end }}
  volumes:
    - {name: logs, emptyDir: {}}
    - {name: tmp, emptyDir: {}}
    {{- if $recurring }}
    - {name: recurring, configMap: {name: {{ include "name" .root }}-recurring}}
    {{- end }}
{{- end }}

{{/* One CronJob. Takes a dict: root, component, command, schedule, seconds. */}}
{{- define "cronjob" -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {{ include "name" .root }}-{{ .component }}
  labels:
    {{- include "labels" .root | nindent 4 }}
spec:
  schedule: {{ .schedule | quote }}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {{ .seconds }}
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: {{ .seconds }}
      template:
        {{- include "pod" (merge (dict "restart" "Never") .) | nindent 8 }}
{{- end }}
