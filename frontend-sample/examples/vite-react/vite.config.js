import react from '@vitejs/plugin-react';
import { defineConfig, searchForWorkspaceRoot } from 'vite';

export default defineConfig({
  plugins: [react()],
  // Client and hook are taken from this repository; an app with copies of them needs neither line.
  server: { fs: { allow: [searchForWorkspaceRoot(process.cwd()), '../..'] } },
  resolve: { dedupe: ['react'] },
});
