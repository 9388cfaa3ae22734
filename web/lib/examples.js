// Lines of a configuration for what is not configured yet. A test has Sluice check each of them.

export const WATCHES = `watches:
  - name: api-errors
    query: "level:error service:api"
    above: 10 in 5m`;

export const TENANTS = `tenants:
  list:
    - id: acme
      senders:
        - { name: default, token: "\${env:ACME_TOKEN}" }`;

export const DEAD_LETTERS = `dead_letter:
  directory: ./dead-letters`;
